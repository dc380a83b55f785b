"""What people decide when votes do not: disputed pairs and the text of the rubric."""
