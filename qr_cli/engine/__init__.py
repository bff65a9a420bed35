"""What every task stands on: recipes, the loop, run folders; imports no domain."""
