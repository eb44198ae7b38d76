"""From sums to layers, HDBI, corrected figures and the verdict."""
