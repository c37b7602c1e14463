"""The presets that ship: one file for each queue library, and the folder is the list. config/presets.py reads them."""
