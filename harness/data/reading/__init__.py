"""Files of patients: reading, checking and previewing them."""
