"""Who is who: the gateway's `Remote-User`, and staff by its `Remote-Groups`."""

from django.contrib import admin
from django.contrib.auth.backends import RemoteUserBackend
from django.contrib.auth.middleware import RemoteUserMiddleware
from django.http import HttpResponse
from django.urls import path


class NamedByTheGateway(RemoteUserMiddleware):
    header = "HTTP_REMOTE_USER"


class People(RemoteUserBackend):
    def configure_user(self, request, user, created=True):
        groups = request.META.get("HTTP_REMOTE_GROUPS", "").split(",")
        user.is_staff = user.is_superuser = "admin" in groups
        user.save()
        return user


def whoami(request):
    return HttpResponse(request.user.get_username() or "nobody")


urlpatterns = [path("admin/", admin.site.urls), path("whoami", whoami), path("open/whoami", whoami)]
