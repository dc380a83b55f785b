"""What every method shares: the loop, receipts, validation and facts."""
