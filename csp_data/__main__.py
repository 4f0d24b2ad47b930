"""``python -m csp_data``."""

from csp_data.cli import main

if __name__ == "__main__":
    main()
