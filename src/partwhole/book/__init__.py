"""The book: its chapters, their cells and outputs, presets, its address, and how its pages are built."""
