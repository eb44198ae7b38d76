"""The MCP server: an assistant asks about the reports of a folder, read-only and in bounded answers."""
