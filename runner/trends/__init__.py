"""What the timings say: statistics over history as pure functions of plain numbers."""
