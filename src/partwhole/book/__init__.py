"""The book: its chapters, their cells and outputs, their presets, its address, and how its pages are built."""
