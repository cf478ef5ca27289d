"""Personal data: recognised in what customers write, kept from providers' models, put back into the answers."""
