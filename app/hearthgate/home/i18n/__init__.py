"""Problems in the language of the household, with the texts of the page."""
