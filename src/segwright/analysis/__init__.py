"""What a data set's labels tell before anything is trained."""
