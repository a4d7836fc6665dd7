"""What commands do: a project read, its images planned, built, tested and published."""
