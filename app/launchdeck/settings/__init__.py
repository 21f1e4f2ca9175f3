"""What the user can set, where it is kept, and the folders of the application."""
