"""What a prediction is worth: overlap, surface distance, and declared values for the cases that have neither."""
