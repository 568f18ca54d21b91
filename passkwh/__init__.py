"""pass@kWh: how many programming tasks a code model solves per kilowatt-hour."""

__version__ = "0.1.0"
