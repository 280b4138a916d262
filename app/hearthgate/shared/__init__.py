"""What relay and home both run on. Knows neither of them."""
