"""What kind of mistake made a gradient wrong."""
