"""Notifications in Home Assistant of what needs a person."""
