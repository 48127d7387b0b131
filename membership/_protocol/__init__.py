"""The rules of membership: quorums, elections, forming. Pure."""
