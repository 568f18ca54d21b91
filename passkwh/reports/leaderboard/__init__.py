"""The leaderboard: runs packed into one file each, checked, and made into a static site."""
