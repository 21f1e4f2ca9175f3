"""Files, whoever wrote them: read without trust, replaced as a whole, set aside where broken, removed with care."""
