"""Speed as ratios, measured in turns in one run; never a timed test."""
