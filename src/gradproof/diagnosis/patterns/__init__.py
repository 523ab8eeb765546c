"""What kind of mistake made one tensor's gradient wrong; NumPy alone, no model in sight."""
