"""Matrix text and facts text in; cells and dropped corners out. Pure: touches nothing outside."""
