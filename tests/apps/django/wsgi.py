"""What gunicorn runs; apart, as `house` may be read only once Django has begun."""

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
