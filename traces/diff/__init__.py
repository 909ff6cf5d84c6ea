"""Where two traces begin to differ, and in what."""
