"""What the commands do beyond running a sweep: plan, defend, rerun, gallery."""
