"""Signatures, statements, trust policy and the signed verdict."""
