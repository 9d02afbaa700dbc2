"""Two results of one task: may they be compared, which is better, by how much, and on what."""
