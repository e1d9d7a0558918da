"""What an artifact gives away of the people whose words it was made from."""
