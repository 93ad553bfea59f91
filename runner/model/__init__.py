"""The words of runner as frozen records: jobs, runs, executions, findings, errors and units."""
