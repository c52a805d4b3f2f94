"""The lab's world: 2-D rigid bodies whose every attribute is known, so that a generated clip can be measured."""
