"""Tasks: one file a task, named by the task's card; each turns normalized profiles into scores."""
