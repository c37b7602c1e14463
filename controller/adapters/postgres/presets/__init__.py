"""Where jobs are, as SQL: one data file for each queue library, and the statement that reads any of them."""
