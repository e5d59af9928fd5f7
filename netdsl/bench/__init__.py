"""How fast a network answers: on the back-ends, on other engines, step by step."""
