"""How good a reward model is: accuracy and calibration."""
