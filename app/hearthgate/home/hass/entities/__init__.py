"""Switches and sensors in Home Assistant, over MQTT."""
