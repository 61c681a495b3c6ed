# The light node in an environment of its own, and the folders.
#
# @api private
class mcshell::node::install {
  $venv = $mcshell::node::venv
  $package = $mcshell::node::package

  file {
    [$mcshell::node::etc]: ensure => directory, mode => '0755';
    ["${mcshell::node::etc}/pki", $mcshell::node::lib]: ensure => directory, mode => '0700';
  }
  if $package != '' {
    exec { 'mcshell: a virtual environment':
      command => [$mcshell::node::python, '-m', 'venv', $venv],
      creates => "${venv}/bin/pip",
      path    => $mcshell::node::path,
    }
    -> exec { 'mcshell: the package':
      command     => [
        "${venv}/bin/python", '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', $package,
      ],
      unless      => [['grep', '-qxF', '-e', $package, "${venv}/package"]],
      environment => $mcshell::node::pip_environment,
      path        => $mcshell::node::path,
      timeout     => 1800,
      notify      => Exec['mcshell: restart'],
    }
    -> file { "${venv}/package":  # once it is there
      content => "${package}\n",
      mode    => '0644',
    }
  }
}
