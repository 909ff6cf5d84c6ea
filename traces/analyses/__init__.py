"""What a trace tells, one file for each analysis."""
