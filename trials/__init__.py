"""What one trial does: data, models, attacks, defenses and the games that measure them."""
