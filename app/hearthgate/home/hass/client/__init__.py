"""Ask the Supervisor and Core. Decides nothing."""
