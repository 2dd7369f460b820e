"""The assignment and its grader: the model answer, its possible mistakes, and what is said about a student's file."""
