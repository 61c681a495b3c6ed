require 'puppet/parameter/boolean'

Puppet::Type.newtype(:mcshell_action) do
  @doc = <<~DOC
    Has nodes of a fleet do something: one action of one agent, asked with `mcshell rpc` from the machine
    that applies the catalog, as the operator whose configuration it has there.

        mcshell_action { 'web: nginx runs':
          agent  => 'service',
          action => 'start',
          inputs => { 'name' => 'nginx' },
          where  => 'role=web',
          unless => { 'agent'  => 'service', 'action' => 'status', 'inputs' => { 'name' => 'nginx' },
                      'expect' => { 'running' => true } },
        }

    It asks when the action in `unless`, which has to be one that changes nothing, does not answer with
    what is expected on each of these nodes; with `refreshonly`, when something that it is subscribed to
    has changed. Without either it would ask in each run, and is refused. A node that does not answer, or
    that fails or denies, fails the resource with its reason. With noop nothing but `unless` is asked.
  DOC

  newparam(:name, namevar: true) do
    desc 'What it is for.'
  end

  word = /\A[a-z0-9_-]+\z/

  %i[agent action].each do |name|
    newparam(name) do
      desc "The #{name} that is asked."
      validate { |value| raise ArgumentError, "#{name} is one word, not #{value.inspect}" unless value.is_a?(String) && value.match?(word) }
    end
  end

  newparam(:inputs) do
    desc 'The inputs by name: texts, numbers and booleans.'
    defaultto({})
    validate { |value| Puppet::Type::Mcshell_action.check_inputs(value) }
  end

  newparam(:nodes, array_matching: :all) do
    desc 'Which nodes, by name; sets like web[01-05] are taken.'
    validate { |value| raise ArgumentError, "no name of nodes: #{value.inspect}" unless Array(value).all? { |one| one.is_a?(String) && one.match?(/\A[A-Za-z0-9@]/) } }
    munge { |value| Array(value) }
  end

  newparam(:where) do
    desc 'Which nodes, as a filter: role=web and not site=ams.'
    validate { |value| raise ArgumentError, "no filter: #{value.inspect}" unless value.is_a?(String) && value.match?(/\A[^-]/) }
  end

  newparam(:unless) do
    desc 'What is asked first: agent, action, inputs, and which outputs are expected.'
    validate do |value|
      raise ArgumentError, 'unless is a hash of agent, action, inputs and expect' unless value.is_a?(Hash)
      raise ArgumentError, 'unless wants expect: outputs by name' unless value['expect'].is_a?(Hash) && !value['expect'].empty?
      unknown = value.keys - %w[agent action inputs expect]
      raise ArgumentError, "unless has no #{unknown.first}" unless unknown.empty?
      %w[agent action].each { |name| raise ArgumentError, "unless wants #{name}: one word" unless value[name].to_s.match?(word) }
      Puppet::Type::Mcshell_action.check_inputs(value['inputs'] || {})
    end
  end

  newparam(:refreshonly, boolean: true, parent: Puppet::Parameter::Boolean) do
    desc 'Whether to ask only when something that it is subscribed to has changed.'
    defaultto false
  end

  newparam(:command) do
    desc 'The mcshell command.'
    defaultto 'mcshell'
  end

  newparam(:config) do
    desc "The operator's configuration file, in place of MCSHELL_CONFIG."
  end

  newparam(:timeout) do
    desc 'How long to wait for the replies: 30s, 5m.'
  end

  newproperty(:done) do
    desc 'Whether the nodes are as they should be; there is no need to write it.'
    defaultto :true
    newvalues(:true)

    def retrieve
      return :true if resource.refreshonly?
      provider.satisfied? ? :true : :false
    end

    def set(_value)
      provider.ask
    end

    def change_to_s(_current, _wanted)
      "asked: #{provider.outcome}"
    end
  end

  def self.check_inputs(value)
    raise ArgumentError, "inputs is a hash, not #{value.inspect}" unless value.is_a?(Hash)
    value.each do |name, one|
      raise ArgumentError, "no name of an input: #{name.inspect}" unless name.to_s.match?(/\A[A-Za-z_][A-Za-z0-9_]*\z/)
      raise ArgumentError, "input #{name} is no text, number or boolean" unless [String, Numeric, true, false].any? { |kind| kind === one }
    end
  end

  validate do
    next if self[:name].nil?
    %i[agent action].each { |name| raise Puppet::Error, "#{name} is missing" if self[name].nil? }
    raise Puppet::Error, 'nodes or where: somebody has to be asked' if self[:nodes].nil? && self[:where].nil?
    raise Puppet::Error, 'unless or refreshonly: it would be asked in each run' if self[:unless].nil? && !refreshonly?
  end

  # Called when something that it is subscribed to has changed; never with noop.
  def refresh
    provider.ask if refreshonly? && !(self[:unless] && provider.satisfied?)
  end
end
