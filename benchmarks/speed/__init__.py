"""What phenobench and its peers cost: each row of the table is one piece of work, done by both in turn."""
