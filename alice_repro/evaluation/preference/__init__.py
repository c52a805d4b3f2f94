"""Human preference: which of two videos of one prompt is better, asked blind, and what the answers say.

`pairs` matches the videos of two or more arms, `study` is what is asked and `opening` begins it, `ballot` is the rules
of voting over the log in `votes`, `server` shows the page (`serve` is the command); `results` and `report` read a
study's folder. `simulate` fills one from score tables instead of people, and every row that comes of it says so.
"""
