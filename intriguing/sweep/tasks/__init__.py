"""What tasks do: thin functions between stored tables and the libraries that hold the science."""
