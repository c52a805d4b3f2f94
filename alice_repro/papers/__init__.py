"""The published record as data, each number once, with its place in the paper."""
