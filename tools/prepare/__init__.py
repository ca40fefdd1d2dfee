"""Public data sets as their sites give them, and a person's own class folders, to the layout that training reads."""
