"""What people see: report and figures."""
