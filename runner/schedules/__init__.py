"""When jobs fire: text becomes a schedule, a schedule becomes fire times, fire times become an APScheduler trigger."""
